"""What accuracy costs: parameters, multiply-adds, time."""
