"""What was: the stream read again, to any position or moment."""
