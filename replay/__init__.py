"""What was: time travel, audit, history. Imports engine and projections only."""
