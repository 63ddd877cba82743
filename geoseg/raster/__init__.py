"""Files to arrays and back: scenes are read, class maps written and read."""
