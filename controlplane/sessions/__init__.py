"""Who is connected: what nodes and routers said last, and what they are told."""
