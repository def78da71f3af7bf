"""What people have: folders of samples, scenes, masks, radar."""
