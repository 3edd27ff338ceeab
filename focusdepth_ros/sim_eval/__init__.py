"""How well an arm would reach: the focus node is asked for objects of the simulator, and its points are compared with
where they are.

Each seed is a tabletop that was never trained on, and one object in it that an arm may be asked for, 0.5 to 1.2 m away.
The object is named by its box, as a detector gives it (each side off by 4 % of the box), or by words for a model that
takes text. The focus node runs as a process of its own; image, camera_info, depth_hint and target go to it over DDS,
and the centroid that it publishes on ~/targets_3d is where the arm would reach. It is compared with the median along x,
y and z of the object's visible surface, which is what the centroid is of the points.

Every object is asked for twice: with a depth sensor that measures 30 % of its visible surface, and with one that sees a
hole in its place. Beside the object the sensor measures 70 %; a fifth of all readings is wrong by a factor of 1.3 to 3,
the others by 1 %. What the node answers is compared with what comes out without it: the sensor's readings in the inner
half of the box, and the plain net's depth there, made metric as the node does it.
"""
