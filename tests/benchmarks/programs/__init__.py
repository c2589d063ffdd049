"""Small real programs, each as an author would write it (``before``) and as the advice has it (``after``)."""
