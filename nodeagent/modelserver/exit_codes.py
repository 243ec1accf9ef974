"""Why a model server ended by itself. 0: it was asked to, and drained; 2: wrong flags."""

MODEL = 3  # the model cannot be served
PORT = 4  # a port cannot be bound
DEVICE = 5  # its GPU is of no use to it any more
