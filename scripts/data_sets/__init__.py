"""Making a data set's lists, and checking a data set."""
