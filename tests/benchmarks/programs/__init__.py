"""Small real programs, each as somebody would write it (``before``) and as the advice has it (``after``)."""
