"""Pure functions that make Envoy's resources."""
