"""A Measurement Set and caltables to a primary-beam-right image: rule `image_tile`."""
