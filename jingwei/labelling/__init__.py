"""The label loop: where labels would teach most, and what becomes of the labels that people draw there."""
