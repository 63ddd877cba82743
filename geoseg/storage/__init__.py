"""Safe writing of outputs: claims, locks, journals and verified renames."""
