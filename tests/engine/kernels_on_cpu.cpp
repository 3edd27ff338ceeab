// kernels.cu as plain C++: each kernel once per pixel.
#include <cmath>
#define __global__
#define __device__ static
struct Index { int x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0};
#include "kernels.cu"

template <class Run> static void each(int columns, int rows, Run run) {
    for (blockIdx.y = 0; blockIdx.y < rows; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < columns; blockIdx.x++)
            run();
}

extern "C" void cpu_letterbox(
    int columns, int rows, Image image, int halved, float *input, int in_width, int in_height, int width, int height,
    float a, float b, float c, float d, float e, float f
) {
    each(columns, rows, [&] { letterbox(image, halved, input, in_width, in_height, width, height, a, b, c, d, e, f); });
}
