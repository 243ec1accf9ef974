"""What a model file is: recognised, opened and refused by its content, in a limited child process."""
