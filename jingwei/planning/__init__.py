"""Before a long job: what is there, what is wrong with it, what it will take."""
