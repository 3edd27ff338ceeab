// kernels.cu as plain C++: each kernel once per pixel.
#include <cmath>
#define __global__
#define __device__ static
using std::isfinite;
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

extern "C" void cpu_nv12_to_rgb(int columns, int rows, const byte *nv12, int width, int height, byte *rgb) {
    each(columns, rows, [&] { nv12_to_rgb(nv12, width, height, rgb); });
}

extern "C" void cpu_cloud(
    int columns, int rows, Image image, const float *depth_m, const unsigned short *labels, float fx, float fy, float cx,
    float cy, float *points
) {
    each(columns, rows, [&] { cloud(image, depth_m, labels, fx, fy, cx, cy, points); });
}
