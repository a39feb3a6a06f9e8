//! Drawn faces of people who do not exist: pictures that may be shown to anybody.
//!
//! It is a separate crate so that every profile compiles it with optimisation: drawing is arithmetic.

mod canvas;

use canvas::{Canvas, Colour, Oval, Point, WHOLE, at, is_on_line, oval};

const DARK: Colour = [34, 28, 30];
const WHITE: Colour = [250, 248, 245];

/// The features of a person, the same in every picture. Lengths are in units of the canvas.
#[derive(Clone, Copy)]
pub struct Face {
    pub skin: Colour,
    pub hair: Colour,
    pub iris: Colour,
    /// Half the width of the head.
    pub width: i64,
    /// Half the width of the chin.
    pub chin: i64,
    /// From the middle to an eye.
    pub eyes_apart: i64,
    pub eye_size: i64,
    pub brow: i64,
    pub brow_slant: i64,
    pub nose: i64,
    pub nose_width: i64,
    pub mouth_width: i64,
    pub lips: i64,
    /// How far the hair comes down on the forehead.
    pub fringe: i64,
    pub has_long_hair: bool,
}

/// The circumstances of one picture.
#[derive(Clone, Copy)]
pub struct Shot {
    pub background: Colour,
    pub clothes: Colour,
    /// Where the light comes from: negative is left.
    pub light: i64,
    /// The sine of the head's lean, of 1024.
    pub lean: i64,
    /// How far the face is turned to one side.
    pub turn: i64,
    pub smile: i64,
    pub has_glasses: bool,
}

/// Draws the person; a PNG.
pub fn draw(face: &Face, shot: &Shot) -> anyhow::Result<Vec<u8>> {
    drawn(face, shot).png()
}

/// Draws the portrait side of the person's card; a PNG.
pub fn draw_card(face: &Face, shot: &Shot) -> anyhow::Result<Vec<u8>> {
    drawn(face, shot).card_png()
}

fn drawn(face: &Face, shot: &Shot) -> Canvas {
    let drawing = Drawing { face: *face, shot: *shot, middle: 720 + shot.turn };
    let mut canvas = Canvas::new(shot.background);
    drawing.body(&mut canvas);
    canvas.lean(shot.lean.clamp(-WHOLE / 4, WHOLE / 4));
    drawing.head(&mut canvas);
    drawing.eyes(&mut canvas);
    drawing.nose_and_mouth(&mut canvas);
    drawing.hair(&mut canvas);
    drawing.brows_and_glasses(&mut canvas);
    canvas
}

const EYE_LINE: i64 = 800;

struct Drawing {
    face: Face,
    shot: Shot,
    /// Of the features: a turned head shows one cheek more than the other.
    middle: i64,
}

impl Drawing {
    fn skin(&self, percent: i64) -> Colour {
        self.face.skin.map(|part| part * percent / 100)
    }

    fn skull(&self) -> Oval {
        oval(at(720, 800), self.face.width, 470)
    }

    fn is_head(&self, point: Point) -> bool {
        let chin = oval(at(720 + self.shot.turn / 3, 1050), self.face.chin, 245);
        self.skull().has(point) || chin.has(point)
    }

    fn eye(&self, side: i64) -> Point {
        at(self.middle + side * self.face.eyes_apart, EYE_LINE)
    }

    fn body(&self, canvas: &mut Canvas) {
        if self.face.has_long_hair {
            let back = oval(at(720, 1000), self.face.width + 120, 640);
            canvas.fill_oval(back, self.face.hair.map(|part| part * 8 / 10));
        }
        let clothes = self.shot.clothes;
        canvas.fill_oval(oval(at(720, 1860), 640, 430), clothes);
        let neck = oval(at(720, 1330), 170, 270);
        canvas.fill_oval(neck, self.skin(84));
        canvas.fill_oval(oval(at(720, 1500), 210, 110), self.skin(86));
        let collar = oval(at(720, 1480), 250, 150);
        let below = clothes.map(|part| part * 8 / 10);
        canvas.fill(oval(at(720, 1560), 300, 160), below, |point| {
            !collar.has(point) && oval(at(720, 1490), 290, 180).has(point) && point.y > 1490
        });
    }

    fn head(&self, canvas: &mut Canvas) {
        let whole = oval(at(720, 850), 560, 620);
        for side in [-1, 1] {
            let ear = at(720 + side * (self.face.width - 5) - self.shot.turn / 2, 850);
            canvas.fill_oval(oval(ear, 62, 120), self.skin(90));
            canvas.fill_oval(oval(ear, 30, 72), self.skin(78));
        }
        canvas.fill(whole, self.skin(100), |point| self.is_head(point));
        let lit = at(720 + self.shot.light * 3, 640);
        canvas.glow(oval(lit, 460, 520), ([255, 244, 228], 70), |point| self.is_head(point));
        let dark = at(720 - self.shot.light * 5, 960);
        canvas.glow(oval(dark, 420, 560), (self.skin(62), 120), |point| self.is_head(point));
        canvas.glow(oval(at(720, 1290), 330, 130), (self.skin(66), 110), |p| self.is_head(p));
        for side in [-1, 1] {
            let cheek = at(self.middle + side * (self.face.eyes_apart + 40), 985);
            let red = [self.face.skin[0], self.face.skin[1] * 3 / 4, self.face.skin[2] * 3 / 4];
            canvas.glow(oval(cheek, 130, 95), (red, 90), |point| self.is_head(point));
        }
    }

    fn eyes(&self, canvas: &mut Canvas) {
        let size = self.face.eye_size;
        for side in [-1, 1] {
            let eye = self.eye(side);
            let within = |point: Point| {
                oval(at(eye.x, eye.y + size), size * 2, size * 17 / 10).has(point)
                    && oval(at(eye.x, eye.y - size), size * 2, size * 16 / 10).has(point)
            };
            let near = oval(eye, size * 2, size * 2);
            canvas.glow(
                oval(at(eye.x, eye.y - 8), size * 2, size * 2),
                (self.skin(60), 120),
                |p| self.is_head(p),
            );
            let lid = |point: Point| within(at(point.x, point.y + size / 5)) || within(point);
            canvas.fill(near, DARK, lid);
            canvas.fill(near, WHITE, within);
            let iris =
                oval(at(eye.x + self.shot.turn / 6, eye.y - 2), size * 6 / 10, size * 6 / 10);
            canvas.fill(iris, self.face.iris, |point| iris.has(point) && within(point));
            let pupil = oval(iris.centre, size / 4, size / 4);
            canvas.fill(pupil, DARK, |point| pupil.has(point) && within(point));
            let shine = at(iris.centre.x + self.shot.light / 6, iris.centre.y - size / 4);
            canvas.fill_oval(oval(shine, size / 7, size / 7), WHITE);
        }
    }

    fn nose_and_mouth(&self, canvas: &mut Canvas) {
        let face = &self.face;
        let tip = at(self.middle + self.shot.turn / 2, EYE_LINE + face.nose);
        let shadow = if self.shot.light < 0 { 1 } else { -1 };
        let bridge = (at(self.middle + shadow * 26, EYE_LINE + 20), at(tip.x + shadow * 34, tip.y));
        let along = oval(at(tip.x, tip.y - face.nose / 2), 120, face.nose);
        canvas.fill(along, self.skin(86), |point| is_on_line(point, bridge, 9));
        canvas.glow(oval(tip, face.nose_width, 62), (self.skin(72), 150), |_| true);
        canvas.glow(
            oval(at(tip.x - shadow * 8, tip.y - 30), 44, 60),
            ([255, 246, 232], 110),
            |_| true,
        );
        for side in [-1, 1] {
            let nostril = at(tip.x + side * face.nose_width / 2, tip.y + 26);
            canvas.fill_oval(oval(nostril, 20, 11), self.skin(48));
        }
        let (mouth, half) = (at(self.middle + self.shot.turn / 3, 1130), face.mouth_width);
        let lip = [face.skin[0] * 9 / 10, face.skin[1] * 6 / 10, face.skin[2] * 6 / 10];
        canvas.fill_oval(oval(at(mouth.x, mouth.y + face.lips / 2), half * 8 / 10, face.lips), lip);
        canvas.fill_oval(
            oval(at(mouth.x, mouth.y - face.lips / 4), half * 8 / 10, face.lips / 2),
            lip,
        );
        let line = |step: i64| {
            let x = half * step / 6;
            at(mouth.x + x, mouth.y - self.shot.smile * x * x / (half * half))
        };
        canvas.fill(oval(mouth, half + 20, 90), [88, 38, 40], |point| {
            (-6..6).any(|step| is_on_line(point, (line(step), line(step + 1)), 8))
        });
    }

    fn hair(&self, canvas: &mut Canvas) {
        let (face, turn) = (&self.face, self.shot.turn);
        let cap = oval(at(720, 770), face.width + 55, 540);
        let forehead = oval(at(720 + turn / 2, 1010), face.width - 8, 560 - face.fringe);
        let parting = oval(at(720 + turn + 130, 900), face.width - 110, 430 - face.fringe / 2);
        let ends = if face.has_long_hair { 1180 } else { 860 };
        let is_hair = |point: Point| {
            cap.has(point) && !forehead.has(point) && !parting.has(point) && point.y < ends
        };
        canvas.fill(cap, face.hair, is_hair);
        let lit = at(720 + self.shot.light * 3, 430);
        canvas.glow(oval(lit, 330, 180), ([255, 240, 220], 46), is_hair);
        if face.has_long_hair {
            for side in [-1, 1] {
                let lock = oval(at(720 + side * (face.width + 30), 1080), 105, 440);
                canvas.fill_oval(lock, face.hair);
            }
        }
    }

    fn brows_and_glasses(&self, canvas: &mut Canvas) {
        let (face, size) = (&self.face, self.face.eye_size);
        for side in [-1, 1] {
            let eye = self.eye(side);
            let inner = at(eye.x - side * size * 3 / 2, eye.y - size * 2 + face.brow_slant);
            let outer = at(eye.x + side * size * 8 / 5, eye.y - size * 2 - face.brow_slant / 2);
            let near = oval(at(eye.x, eye.y - size * 2), size * 3, size * 2);
            let colour = face.hair.map(|part| part * 9 / 10);
            canvas.fill(near, colour, |point| is_on_line(point, (inner, outer), face.brow));
        }
        if !self.shot.has_glasses {
            return;
        }
        let (across, down) = (face.eyes_apart * 8 / 10, 112);
        for side in [-1, 1] {
            let eye = self.eye(side);
            let centre = at(eye.x, eye.y + 10);
            let (rim, glass) = (oval(centre, across, down), oval(centre, across - 13, down - 13));
            canvas.glow(rim, ([235, 242, 250], 40), |point| glass.has(point));
            canvas.fill(rim, DARK, |point| rim.has(point) && !glass.has(point));
            let (from, to) =
                (at(eye.x + side * across, eye.y - 8), at(720 + side * face.width, 790));
            let near = oval(at(from.x, from.y), 260, 80);
            canvas.fill(near, DARK, |point| is_on_line(point, (from, to), 7));
        }
        let (left, right) = (self.eye(-1), self.eye(1));
        let bridge = (at(left.x + across - 6, left.y), at(right.x - across + 6, right.y));
        canvas.fill(oval(at(self.middle, EYE_LINE), 160, 60), DARK, |point| {
            is_on_line(point, bridge, 7)
        });
    }
}
