"""What is: pure folds over the events, and the views they keep."""
