"""Functions as machine code: compiled once, kept, and called without the compiler."""
