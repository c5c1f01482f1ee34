"""Speed, measured side by side with a peer in one run: medians and ratios, never a pass or a failure."""
