"""What puts the fleet right by itself: suspects run apart, runs that stand still are ended and moved on."""
