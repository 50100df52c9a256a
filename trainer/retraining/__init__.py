"""The retrain job: feedback becomes a challenger, and a gate decides whether it is promoted."""
