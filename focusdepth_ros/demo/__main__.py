import sys

from focusdepth_ros.demo import main

sys.exit(main())
