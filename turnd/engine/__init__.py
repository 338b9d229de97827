"""What moves packets: the interface, and the engines written in Python."""
