import sys

from focusdepth_ros.benchmark.command import main

sys.exit(main())
