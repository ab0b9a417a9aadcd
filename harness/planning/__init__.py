"""What will be run, and by whom; one cell looked at, opened, or run again."""
