"""The server from which Envoy gets its resources (xDS, aggregated, state of the world)."""
