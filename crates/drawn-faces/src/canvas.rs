//! A small picture to draw on: filled shapes with smooth edges, soft light and shadow, and its PNG.
//! Whole numbers only: four units are one pixel.

use anyhow::Context;

/// In pixels.
const WIDTH: u32 = 360;
const HEIGHT: u32 = 450;
/// A card in pixels, and where its portrait is: from 62 to 98 % of the width, from 10 to 78 % of the
/// height.
const CARD_WIDTH: u32 = 1000;
const CARD_HEIGHT: u32 = 662;
const LEFT: u32 = 620;
const TOP: u32 = 66;
const MARGIN: u32 = 60;
const PAPER: Colour = [222, 232, 240];
const INK: Colour = [120, 128, 140];
/// The rows of each bar, and its right end.
const BARS: [(std::ops::Range<u32>, u32); 5] =
    [(90..112, 330), (160..182, 400), (230..252, 480), (300..322, 540), (570..596, 860)];
/// Units in a pixel.
const UNIT: i64 = 4;
/// Sines and cosines are in parts of it.
pub(super) const WHOLE: i64 = 1024;
/// Everything inside a shape is covered by so much.
const OPAQUE: i64 = 256;

pub(super) type Colour = [i64; 3];

#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: i64,
}

pub(super) const fn at(x: i64, y: i64) -> Point {
    Point { x, y }
}

/// An ellipse by its centre and half its axes.
#[derive(Clone, Copy)]
pub(super) struct Oval {
    pub(super) centre: Point,
    pub(super) across: i64,
    pub(super) down: i64,
}

impl Oval {
    pub(super) fn has(self, point: Point) -> bool {
        self.nearness(point) > 0
    }

    /// From 0 on its edge to 256 in its centre.
    fn nearness(self, point: Point) -> i64 {
        let x = (point.x - self.centre.x) * self.down;
        let y = (point.y - self.centre.y) * self.across;
        let edge = (self.across * self.down).pow(2).max(1);
        OPAQUE - OPAQUE * (x * x + y * y) / edge
    }
}

pub(super) const fn oval(centre: Point, across: i64, down: i64) -> Oval {
    Oval { centre, across, down }
}

/// Whether a point is on the line between two others, as thick as twice this.
pub(super) fn is_on_line(point: Point, (from, to): (Point, Point), thick: i64) -> bool {
    let (x, y) = (to.x - from.x, to.y - from.y);
    let (px, py) = (point.x - from.x, point.y - from.y);
    let length = x * x + y * y;
    let along = px * x + py * y;
    if along <= 0 {
        px * px + py * py <= thick * thick
    } else if along >= length {
        (px - x).pow(2) + (py - y).pow(2) <= thick * thick
    } else {
        (px * y - py * x).pow(2) <= thick * thick * length
    }
}

pub(super) struct Canvas {
    /// Three to a pixel, row by row.
    colours: Vec<i64>,
    /// By how much later shapes lean: sine and cosine.
    lean: (i64, i64),
}

impl Canvas {
    /// One colour, a little darker further down.
    pub(super) fn new(background: Colour) -> Self {
        let mut colours = Vec::new();
        for y in 0..i64::from(HEIGHT) {
            let row = background.map(|part| part - part * y / (i64::from(HEIGHT) * 6));
            for _ in 0..WIDTH {
                colours.extend(row);
            }
        }
        Self { colours, lean: (0, WHOLE) }
    }

    pub(super) fn lean(&mut self, sine: i64) {
        let cosine = (WHOLE * WHOLE - sine * sine).isqrt();
        self.lean = (sine, cosine);
    }

    /// Fills what `shape` has inside `bounds`.
    pub(super) fn fill(&mut self, bounds: Oval, colour: Colour, shape: impl Fn(Point) -> bool) {
        let lean = self.lean;
        self.paint(bounds, |corner| {
            let samples = (0..UNIT).flat_map(|x| (0..UNIT).map(move |y| (x, y)));
            let samples = samples.filter(|(x, y)| (x + y) % 2 == 0);
            let inside = samples.filter(|(x, y)| shape(lean_back(lean, corner, *x, *y))).count();
            let covered = i64::try_from(inside).unwrap_or_default() * OPAQUE * 2 / (UNIT * UNIT);
            (covered > 0).then_some((colour, covered))
        });
    }

    pub(super) fn fill_oval(&mut self, shape: Oval, colour: Colour) {
        self.fill(shape, colour, |point| shape.has(point));
    }

    /// Lays a colour over what `within` has, most in the middle of the oval, where it covers by
    /// `most` of 256.
    pub(super) fn glow(
        &mut self,
        soft: Oval,
        (colour, most): (Colour, i64),
        within: impl Fn(Point) -> bool,
    ) {
        let lean = self.lean;
        self.paint(soft, |corner| {
            let point = lean_back(lean, corner, UNIT / 2, UNIT / 2);
            let covered = soft.nearness(point).max(0) * most / OPAQUE;
            (covered > 0 && within(point)).then_some((colour, covered))
        });
    }

    /// The picture as a file.
    pub(super) fn png(&self) -> anyhow::Result<Vec<u8>> {
        png_of((WIDTH, HEIGHT), &self.colours)
    }

    /// The picture as the portrait of a card, where the console looks for it. Bars stand for the text.
    pub(super) fn card_png(&self) -> anyhow::Result<Vec<u8>> {
        let mut colours = Vec::new();
        let mut portrait = self.colours.chunks_exact(3 * usize::try_from(WIDTH)?);
        let (rows, columns) = (TOP..TOP + HEIGHT, LEFT..LEFT + WIDTH);
        for y in 0..CARD_HEIGHT {
            let row = if rows.contains(&y) { portrait.next() } else { None };
            let bar = BARS.iter().find(|(rows, _)| rows.contains(&y));
            let ink = bar.map_or(0..0, |(_, right)| MARGIN..*right);
            for x in 0..CARD_WIDTH {
                match row {
                    Some(row) if x == columns.start => colours.extend_from_slice(row),
                    Some(_) if columns.contains(&x) => {}
                    _ if ink.contains(&x) => colours.extend(INK),
                    _ => colours.extend(PAPER),
                }
            }
        }
        png_of((CARD_WIDTH, CARD_HEIGHT), &colours)
    }

    /// Asks for the colour of each pixel near the oval, by the corner of the pixel.
    fn paint(&mut self, near: Oval, colour: impl Fn(Point) -> Option<(Colour, i64)>) {
        let mut painted = Vec::new();
        let reach = near.across.max(near.down) + UNIT;
        let upright = self.lean.0 == 0;
        let (across, down) =
            if upright { (near.across + UNIT, near.down + UNIT) } else { (reach, reach) };
        let centre = turned(near.centre, self.lean);
        let rows = pixels(centre.y, down, HEIGHT);
        let columns = pixels(centre.x, across, WIDTH);
        for y in rows {
            for x in columns.clone() {
                let corner = at(i64::from(x) * UNIT, i64::from(y) * UNIT);
                painted.extend(colour(corner).map(|found| (y * WIDTH + x, found)));
            }
        }
        for (pixel, (colour, covered)) in painted {
            let first = usize::try_from(pixel).unwrap_or(usize::MAX).saturating_mul(3);
            for (old, new) in self.colours.iter_mut().skip(first).take(3).zip(colour) {
                *old += (new - *old) * covered / OPAQUE;
            }
        }
    }
}

fn png_of((width, height): (u32, u32), colours: &[i64]) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let bytes: Result<Vec<u8>, _> =
        colours.iter().map(|part| u8::try_from((*part).clamp(0, 255))).collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes.context("a colour out of range")?)?;
    writer.finish()?;
    Ok(file)
}

/// The point of an upright picture that is seen there.
fn lean_back((sine, cosine): (i64, i64), corner: Point, x: i64, y: i64) -> Point {
    turned(at(corner.x + x, corner.y + y), (-sine, cosine))
}

/// Turned around the neck.
fn turned(point: Point, (sine, cosine): (i64, i64)) -> Point {
    const PIVOT: Point = at(720, 1400);
    let (x, y) = (point.x - PIVOT.x, point.y - PIVOT.y);
    at(PIVOT.x + (x * cosine - y * sine) / WHOLE, PIVOT.y + (x * sine + y * cosine) / WHOLE)
}

/// The pixels that far around a place, of so many.
fn pixels(centre: i64, reach: i64, of: u32) -> std::ops::Range<u32> {
    let pixel =
        |place: i64| u32::try_from((place / UNIT).clamp(0, i64::from(of))).unwrap_or_default();
    pixel(centre - reach)..pixel(centre + reach + UNIT)
}
