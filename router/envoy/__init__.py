"""The Envoy process: its start, adoption, replacement and end."""
