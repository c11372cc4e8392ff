"""What the autoscaler's benchmark is made of: traces, peers, the oracle, the drawing."""
