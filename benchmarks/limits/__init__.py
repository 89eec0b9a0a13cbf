"""What no server can beat, and what a framework alone costs."""
