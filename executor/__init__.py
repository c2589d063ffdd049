"""makespan's executor: workflows on interchangeable backends, with a record of what happened."""
