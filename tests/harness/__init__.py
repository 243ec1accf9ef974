"""What tests of the whole yard share: real programs as processes, tiny real models, a load that checks every answer."""
