import sys

from focusdepth_ros.sim_eval.command import main

sys.exit(main())
