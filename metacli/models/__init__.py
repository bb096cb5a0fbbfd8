"""f_theta: meta-learners. Nothing here imports `metacli.tasks`."""
