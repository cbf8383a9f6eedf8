"""What each server is sent for each kind of medium, from each kind of source, through each framework."""
