// What is done to images on the GPU, by NVRTC. Also plain C++: tests/engine/test_kernels.py runs it on the CPU and
// compares it with numpy and OpenCV.

typedef unsigned char byte;

// 8-bit pixels. red: of the top left one; steps in bytes, to the next channel (-1 for BGR), pixel and row. Of NV12, red
// is the luma, and chroma the plane behind it, in steps of the same rows; of RGB and BGR chroma is null.
struct Image {
    const byte *red, *chroma;
    int channel_step, pixel_step, row_step, columns, rows;
};

// BT.601 with video levels and in whole numbers, as OpenCV has it.
__device__ float at_nv12(const Image &image, int x, int y, int channel) {
    const byte *chroma = image.chroma + (long long)(y / 2) * image.row_step + x / 2 * 2;
    const float luma = 1.164f * fmaxf(image.red[(long long)y * image.row_step + x] - 16.0f, 0);
    const float u = chroma[0] - 128.0f, v = chroma[1] - 128.0f;
    const float values[] = {luma + 1.596f * v, luma - 0.813f * v - 0.391f * u, luma + 2.018f * u};
    return (byte)(fminf(fmaxf(values[channel], 0), 255) + 0.5f);
}

__device__ float at(const Image &image, int x, int y, int channel) {
    if (image.chroma)
        return at_nv12(image, x, y, channel);
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
