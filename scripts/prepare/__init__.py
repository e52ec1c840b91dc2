"""Makes lists of data sets, a module for each kind of source, and looks through them."""
