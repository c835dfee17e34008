"""Jobs, the calls in them, the attempts behind each call; running a call; usage."""
