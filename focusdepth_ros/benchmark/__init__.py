"""What the focus node itself costs beside its networks, on this machine.

  python -m focusdepth_ros.benchmark                                  four minutes
  python -m focusdepth_ros.benchmark --frames 20000 --out node.json   for the growth of memory, too; 15 minutes

Three processes talk over ROS 2: a camera of 1280 x 720 at 30 Hz with rgb8 images, camera_info, depth_hint (16UC1, a
fifth of it missing) and targets; the focus node with its real pipeline, whose network takes 10 ms: it copies the frame,
as TensorRT's does for the GPU to prepare it, sleeps for the rest, and returns depth of 518 x 392 and masks of 148 x 112
as Depth Anything V2 Small would; and a subscriber of what a robot wants: metric depth, camera_info, mask, points and
targets_3d. With one target and with four; and of both with points and targets_3d alone, or with every output there is.

overhead   from the start of the image's callback to the last message, less the network; what the node tells as
           overhead_* in its status, where it can be read on any robot
lost       images of the camera without an answer on targets_3d at the subscriber
latency    from the image's stamp to targets_3d at the subscriber; transport is what it has beyond overhead and network
cpu_core   processor time of the node's process, in cores
start_s    from starting the node with the shipped model to its first answer, the network's real one
"""
