"""Images of streets: materials, light, the camera's response, and random disturbances."""
