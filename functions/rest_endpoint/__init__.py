"""Takes the endpoint away outside its hours, and brings it back."""
