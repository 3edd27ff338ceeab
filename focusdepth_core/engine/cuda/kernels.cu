// What is done to images on the GPU, by NVRTC. Also plain C++: tests/engine/test_kernels.py runs it on the CPU and
// compares it with numpy and OpenCV.

typedef unsigned char byte;

// 8-bit pixels. red: of the top left one; steps in bytes, to the next channel (-1 for BGR), pixel and row.
struct Image {
    const byte *red;
    int channel_step, pixel_step, row_step, columns, rows;
};

__device__ float at(const Image &image, int x, int y, int channel) {
    return image.red[(long long)y * image.row_step + x * image.pixel_step + channel * image.channel_step];
}

// The mean of a square of `side` pixels, as an image halved once or more has it.
__device__ float block(const Image &image, int x, int y, int side, int channel) {
    float sum = 0;
    for (int row = 0; row < side; row++)
        for (int column = 0; column < side; column++)
            sum += at(image, x * side + column, y * side + row, channel);
    return sum / (side * side);
}

__device__ float bilinear(const Image &image, float x, float y, int side, int channel) {
    const int last_column = image.columns / side - 1, last_row = image.rows / side - 1;
    x = fminf(fmaxf(x, 0), last_column);
    y = fminf(fmaxf(y, 0), last_row);
    const int left = (int)x, top = (int)y;
    const int right = left < last_column ? left + 1 : left, bottom = top < last_row ? top + 1 : top;
    const float across = x - left, down = y - top;
    const float above = block(image, left, top, side, channel) * (1 - across) + block(image, right, top, side, channel) * across;
    const float below = block(image, left, bottom, side, channel) * (1 - across) + block(image, right, bottom, side, channel) * across;
    return above * (1 - down) + below * down;
}

// The mean over what lies between two places, with parts of pixels at its edges.
__device__ float area(const Image &image, float left, float top, float right, float bottom, int channel) {
    float sum = 0, weights = 0;
    for (int y = (int)top; y < bottom && y < image.rows; y++) {
        const float tall = fminf(y + 1, bottom) - fmaxf(y, top);
        for (int x = (int)left; x < right && x < image.columns; x++) {
            const float weight = tall * (fminf(x + 1, right) - fmaxf(x, left));
            sum += weight * at(image, x, y, channel);
            weights += weight;
        }
    }
    return sum / weights;
}

// A frame resized to width x height into the top left corner of a 3,in_height,in_width input, value * scale - shift
// per channel; the rest becomes 0. halved: 1, 2, 4, ... if the frame is halved first, then bilinear; 0 for area.
extern "C" __global__ void letterbox(
    Image image, int halved, float *input, int in_width, int in_height, int width, int height,
    float red_scale, float green_scale, float blue_scale, float red_shift, float green_shift, float blue_shift
) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= in_width || y >= in_height)
        return;
    const float scale[] = {red_scale, green_scale, blue_scale}, shift[] = {red_shift, green_shift, blue_shift};
    const float across = (float)image.columns / width, down = (float)image.rows / height;
    for (int channel = 0; channel < 3; channel++) {
        float value = 0;
        if (x < width && y < height) {
            if (halved)
                value = bilinear(image, (x + 0.5f) * across / halved - 0.5f, (y + 0.5f) * down / halved - 0.5f, halved, channel);
            else
                value = area(image, x * across, y * down, (x + 1) * across, (y + 1) * down, channel);
            value = value * scale[channel] - shift[channel];
        }
        input[((long long)channel * in_height + y) * in_width + x] = value;
    }
}

// BT.601 with video levels, as OpenCV has it: rows x columns of luma, then rows / 2 of interleaved chroma, to RGB.
extern "C" __global__ void nv12_to_rgb(const byte *nv12, int columns, int rows, byte *rgb) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= columns || y >= rows)
        return;
    const byte *chroma = nv12 + (long long)(rows + y / 2) * columns + x / 2 * 2;
    const float luma = 1.164f * fmaxf(nv12[(long long)y * columns + x] - 16.0f, 0);
    const float u = chroma[0] - 128.0f, v = chroma[1] - 128.0f;
    const float values[] = {luma + 1.596f * v, luma - 0.813f * v - 0.391f * u, luma + 2.018f * u};
    for (int channel = 0; channel < 3; channel++)
        rgb[((long long)y * columns + x) * 3 + channel] = (byte)(fminf(fmaxf(values[channel], 0), 255) + 0.5f);
}

// Five words per pixel as in PointCloud2: x, y, z, 0x00RRGGBB, label. Without a label or a finite depth x is NaN.
extern "C" __global__ void cloud(
    Image image, const float *depth_m, const unsigned short *labels, float fx, float fy, float cx, float cy, float *points
) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= image.columns || y >= image.rows)
        return;
    const long long pixel = (long long)y * image.columns + x;
    const float z = depth_m[pixel];
    const bool kept = labels[pixel] && isfinite(z);
    float *point = points + 5 * pixel;
    unsigned *words = (unsigned *)point;
    point[0] = (x - cx) / fx * z;
    point[1] = (y - cy) / fy * z;
    point[2] = z;
    if (!kept)
        words[0] = 0x7fc00000u;
    words[3] = (unsigned)at(image, x, y, 0) << 16 | (unsigned)at(image, x, y, 1) << 8 | (unsigned)at(image, x, y, 2);
    words[4] = labels[pixel];
}
