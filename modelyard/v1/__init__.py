"""The types of the wire, generated from proto/ by scripts/generate_protos."""
