"""Bags of what the node hears and says, as ros2 bag writes them (MCAP), without a ROS distribution."""
