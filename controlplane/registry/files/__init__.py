"""Model files: where they are kept, how they come in, and when they go."""
