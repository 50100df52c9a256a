"""The article's method here, beside a plain implementation of its loop."""
