"""What the router answers itself: everything that no replica is asked."""
