// A million points by WebGL 2: positions and a colour value each, moved and scaled on the GPU.
// No library: those for scatter plots build functions from text, which the page's policy forbids.

const VERTEX = `#version 300 es
in vec2 place;
in float value;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
out float v;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = size;
  v = value;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in float v;
uniform vec3 low;
uniform vec3 high;
uniform float opacity;
out vec4 colour;
void main() {
  vec2 from = gl_PointCoord - 0.5;
  if (dot(from, from) > 0.25) discard;
  colour = vec4(mix(low, high, v), opacity);
}`;

export interface View {
  /** The point of the map at the middle of the canvas. */
  x: number;
  y: number;
  /** Pixels of the canvas for one unit of the map; a map is two units wide. */
  zoom: number;
}

export interface Palette {
  low: readonly [number, number, number];
  high: readonly [number, number, number];
}

/** Draws points (n, 2) with values (n,) of 0 to 255. */
export interface Painter {
  draw: (view: View, palette: Palette) => void;
  setValues: (values: Uint8Array) => void;
  close: () => void;
  isPicture: boolean;
}

export function painter(canvas: HTMLCanvasElement, points: Float32Array): Painter {
  const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: false });
  return gl ? onGpu(gl, points) : asPicture(canvas, points);
}

function sizeOf(view: View, count: number): number {
  const spacing = (2 * view.zoom) / Math.sqrt(Math.max(count, 1));
  return Math.min(Math.max(spacing * 0.5, 1.5), 12) * devicePixelRatio;
}

function onGpu(gl: WebGL2RenderingContext, points: Float32Array): Painter {
  const count = points.length / 2;
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(gl.getProgramInfoLog(program) ?? "the map cannot be drawn");
  }
  const buffer = (name: string, size: number, type: number, isNormalized: boolean): WebGLBuffer => {
    const made = gl.createBuffer()!;
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, isNormalized, 0, 0);
    return made;
  };
  const fill = (into: WebGLBuffer, data: ArrayBufferView): void => {
    gl.bindBuffer(gl.ARRAY_BUFFER, into);
    gl.bufferData(gl.ARRAY_BUFFER, data as BufferSource, gl.STATIC_DRAW);
  };
  fill(buffer("place", 2, gl.FLOAT, false), points);
  const values = buffer("value", 1, gl.UNSIGNED_BYTE, true);
  fill(values, new Uint8Array(count));
  const at = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(program, name);
  return {
    isPicture: false,
    setValues: (given) => fill(values, given),
    draw(view, { low, high }) {
      const { width, height } = gl.canvas;
      const scale = (2 * view.zoom * devicePixelRatio) as number;
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.enable(gl.BLEND);
      gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.useProgram(program);
      gl.uniform2f(at("centre"), view.x, view.y);
      gl.uniform2f(at("scale"), scale / width, scale / height);
      gl.uniform1f(at("size"), sizeOf(view, count));
      gl.uniform1f(at("opacity"), count > 100_000 ? 0.5 : 0.85);
      gl.uniform3f(at("low"), ...(low as [number, number, number]));
      gl.uniform3f(at("high"), ...(high as [number, number, number]));
      gl.drawArrays(gl.POINTS, 0, count);
    },
    close: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

const STEPS = 8; // colours of a picture

/** Without WebGL: the same by the processor, which takes a second for a million points. */
function asPicture(canvas: HTMLCanvasElement, points: Float32Array): Painter {
  const context = canvas.getContext("2d")!;
  const count = points.length / 2;
  let values = new Uint8Array(count);
  return {
    isPicture: true,
    setValues: (given) => {
      values = new Uint8Array(given);
    },
    draw(view, { low, high }) {
      const { width, height } = canvas;
      const zoom = view.zoom * devicePixelRatio;
      const size = sizeOf(view, count);
      context.clearRect(0, 0, width, height);
      for (let step = 0; step < STEPS; step += 1) {
        const share = step / (STEPS - 1);
        const mixed = low.map((part, i) => Math.round(255 * (part + share * (high[i]! - part))));
        context.fillStyle = `rgb(${mixed.join(" ")})`;
        for (let i = 0; i < count; i += 1) {
          if (values[i]! >> 5 !== step) continue;
          const x = width / 2 + (points[2 * i]! - view.x) * zoom;
          const y = height / 2 - (points[2 * i + 1]! - view.y) * zoom;
          context.fillRect(x - size / 2, y - size / 2, size, size);
        }
      }
    },
    close: () => undefined,
  };
}

/** The places of the points (n, 2) inside a polygon of map coordinates. */
export function inside(points: Float32Array, polygon: readonly (readonly [number, number])[]): number[] {
  const xs = polygon.map(([x]) => x);
  const ys = polygon.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found: number[] = [];
  for (let i = 0; i < points.length / 2; i += 1) {
    const x = points[2 * i]!;
    const y = points[2 * i + 1]!;
    if (x < left || x > right || y < top || y > bottom) continue;
    let isInside = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a, a += 1) {
      const [ax, ay] = polygon[a]!;
      const [bx, by] = polygon[b]!;
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isInside = !isInside;
    }
    if (isInside) found.push(i);
  }
  return found;
}
