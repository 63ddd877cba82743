"""Functions compiled to machine code once, cached on disk and called without the compiler."""
