"""`modelyard up`: controller, node agent and router as child processes, by module name. It imports none of them."""
