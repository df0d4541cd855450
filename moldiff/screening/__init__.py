"""From a library to the molecules that are wanted, with a reason for each that is not."""
